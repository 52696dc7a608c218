// Every operation of the JS client on key-value stores, against the emulator in APIFY_CLIENT_BASE_URL; exits 1 with the first surprise.
import assert from "node:assert/strict";
import { ApifyClient } from "apify-client";

const baseUrl = process.env.APIFY_CLIENT_BASE_URL;
const client = new ApifyClient({ token: process.env.APIFY_TOKEN, baseUrl, publicBaseUrl: baseUrl, maxRetries: 0 });
const part = async (name, work) => {
  await work();
  console.log(`ok ${name}`);
};
const status = async (url) => (await fetch(url)).status;

const made = await client.keyValueStores().getOrCreate("shop");
const store = client.keyValueStore(made.id);

await part("stores", async () => {
  assert.equal((await client.keyValueStores().getOrCreate("SHOP")).id, made.id);
  await client.keyValueStores().getOrCreate();
  assert.equal((await client.keyValueStores().list()).total, 1);
  assert.equal((await client.keyValueStores().list({ unnamed: true, desc: true })).items[1].id, made.id);
  const updated = await store.update({ name: "renamed", title: "A title", generalAccess: "RESTRICTED" });
  assert.deepEqual([updated.name, updated.title, updated.generalAccess], ["renamed", "A title", "RESTRICTED"]);
  assert.equal((await client.keyValueStore(`${updated.username}/renamed`).get()).id, made.id);
  assert(updated.createdAt instanceof Date);
  assert.equal(await client.keyValueStore("none").get(), undefined);
});

await part("records", async () => {
  const json = { a: [1, "é"] };
  await store.setRecord({ key: "json", value: json });
  await store.setRecord({ key: "text", value: "é" });
  await store.setRecord({ key: "bytes", value: Buffer.from([0, 255, 13, 10]) });
  assert.deepEqual((await store.getRecord("json")).value, json);
  assert.equal((await store.getRecord("text")).value, "é");
  assert.deepEqual([...(await store.getRecord("bytes", { buffer: true })).value], [0, 255, 13, 10]);
  assert.equal((await store.getRecord("json")).contentType, "application/json; charset=utf-8");
  const chunks = [];
  for await (const chunk of (await store.getRecord("text", { stream: true })).value) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), "é");
  assert.deepEqual([await store.recordExists("json"), await store.recordExists("none")], [true, false]);
  await store.deleteRecord("json");
  await store.deleteRecord("json");
  assert.equal(await store.getRecord("json"), undefined);
});

await part("compression", async () => {
  const text = "long enough to be compressed ".repeat(1000);
  await store.setRecord({ key: "long", value: text });
  assert.equal((await store.getRecord("long")).value, text);
  const { items } = await store.listKeys({ prefix: "long" });
  assert(items[0].size < text.length / 10);
  const signed = await store.getRecordPublicUrl("long");
  assert.equal(await (await fetch(signed, { headers: { "Accept-Encoding": "identity" } })).text(), text);
});

await part("keys", async () => {
  for (let number = 0; number < 25; number += 1) {
    await store.setRecord({ key: `k(${String(number).padStart(2, "0")})!'`, value: number });
  }
  const found = [];
  for await (const item of store.listKeys({ prefix: "k(" })) found.push(item.key);
  assert.equal(found.length, 25);
  assert.deepEqual(found, [...found].sort());
  let page = await store.listKeys({ prefix: "k(", limit: 10 });
  const sizes = [page.items.length];
  while (page.nextExclusiveStartKey !== null) {
    page = await store.listKeys({ prefix: "k(", limit: 10, exclusiveStartKey: page.nextExclusiveStartKey });
    sizes.push(page.items.length);
  }
  assert.deepEqual([sizes, page.isTruncated], [[10, 10, 5], false]);
});

await part("signed URLs", async () => {
  assert.equal(await status(await store.createKeysPublicUrl()), 200);
  assert.equal(await status(await store.createKeysPublicUrl({ expiresInSecs: -60 })), 403);
  assert.equal(await status(`${baseUrl}/v2/key-value-stores/${made.id}/keys`), 403);
});

await part("errors", async () => {
  const refused = async (work) => work.then(() => assert.fail(), (error) => [error.statusCode, error.type]);
  assert.deepEqual(await refused(store.setRecord({ key: "a b", value: "x" })), [400, "invalid-record-key"]);
  const wrong = new ApifyClient({ token: "wrong", baseUrl, maxRetries: 0 });
  assert.deepEqual(await refused(wrong.keyValueStores().list()), [401, "token-not-valid"]);
  assert.equal((await client.user("me").get()).username, "kvsync-emulator");
});

// The client does not encode keys: what it is told about the key ".." it does to the store.
await part("dot segments", async () => {
  await store.deleteRecord("..");
  assert.equal(await store.get(), undefined);
});
