// Sets, gets and deletes with the vendor's client as it is, and prints what it found as JSON. It finds its credentials in its environment.
import client from "@voximplant/apiclient-nodejs";

const api = new client.default({ host: process.env.VOXIMPLANT_API_HOST });
const key = "a:ключ";
const value = "é & =\r\n--boundary";
api.onReady = async () => {
  const kv = api.KeyValueStorage;
  const found = [];
  found.push(await kv.setKeyValueItem({ key, value, applicationId: 1, ttl: 60 }));
  found.push(await kv.getKeyValueItem({ key, applicationId: 1 }));
  found.push(await kv.delKeyValueItem({ key, applicationId: 1 }));
  found.push(await kv.getKeyValueItem({ key, applicationId: 1 }));
  found.push(await api.Applications.getApplications({}));
  console.log(JSON.stringify(found));
};
