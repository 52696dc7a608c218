// Every operation of the JS SDK against the emulator in AZURE_APPCONFIG_CONNECTION_STRING; exits 1 with the first surprise.
import assert from "node:assert/strict";
import { AppConfigurationClient, featureFlagPrefix, featureFlagContentType, isFeatureFlag } from "@azure/app-configuration";

const connectionString = process.env.AZURE_APPCONFIG_CONNECTION_STRING;
const client = new AppConfigurationClient(connectionString, { allowInsecureConnection: true });
const refused = (status) => (error) => error.statusCode === status;

async function all(pager) {
  const found = [];
  for await (const item of pager) found.push(item);
  return found;
}

async function pages(pager) {
  const found = [];
  for await (const page of pager.byPage()) found.push(page);
  return found;
}

const steps = {
  async "add, get, set, delete"() {
    const id = { key: "a/b c+é", label: "pröd/1" };
    const added = await client.addConfigurationSetting({ ...id, value: "1", contentType: "text/plain", tags: { t: "x=y" } });
    await assert.rejects(client.addConfigurationSetting({ ...id, value: "2" }), refused(412));
    const found = await client.getConfigurationSetting(id);
    assert.deepEqual([found.value, found.contentType, found.tags, found.etag], ["1", "text/plain", { t: "x=y" }, added.etag]);
    await assert.rejects(client.getConfigurationSetting({ key: id.key }), refused(404));
    assert.equal((await client.getConfigurationSetting(found, { onlyIfChanged: true })).statusCode, 304);
    await client.setConfigurationSetting({ ...found, value: "3" }, { onlyIfUnchanged: true });
    await assert.rejects(client.setConfigurationSetting({ ...found, value: "4" }, { onlyIfUnchanged: true }), refused(412));
    await assert.rejects(client.deleteConfigurationSetting(found, { onlyIfUnchanged: true }), refused(412));
    assert.equal((await client.deleteConfigurationSetting(id)).statusCode, 200);
    assert.equal((await client.deleteConfigurationSetting(id)).statusCode, 204);
  },
  async "read-only"() {
    await client.setConfigurationSetting({ key: "k", value: "v" });
    assert.equal((await client.setReadOnly({ key: "k" }, true)).isReadOnly, true);
    await assert.rejects(client.setConfigurationSetting({ key: "k", value: "w" }), refused(409));
    assert.equal((await client.setReadOnly({ key: "k" }, false)).isReadOnly, false);
  },
  async "lists and pages"() {
    for (let n = 0; n < 105; n++) {
      await client.setConfigurationSetting({ key: `l${String(n).padStart(3, "0")}`, value: `${n}`, tags: { n: `${n % 10}` } });
    }
    assert.equal((await all(client.listConfigurationSettings({ keyFilter: "l*", labelFilter: "\0" }))).length, 105);
    assert.equal((await all(client.listConfigurationSettings({ keyFilter: "l00*", tagsFilter: ["n=7"] }))).length, 1);
    const some = await all(client.listConfigurationSettings({ keyFilter: "l001,l003", fields: ["key"] }));
    assert.deepEqual(some.map((item) => [item.key, item.value]), [["l001", undefined], ["l003", undefined]]);
    const seen = (await pages(client.listConfigurationSettings({ keyFilter: "l*" }))).map((page) => page.etag);
    assert.equal(seen.length, 2);
    await client.setConfigurationSetting({ key: "l104", value: "changed" });
    const again = await pages(client.listConfigurationSettings({ keyFilter: "l*", pageEtags: seen }));
    assert.deepEqual(again.map((page) => [Number(page._response.status), page.items.length]), [[304, 0], [200, 5]]);
    const checked = await pages(client.checkConfigurationSettings({ keyFilter: "l*" }));
    assert.deepEqual(checked.map((page) => page.etag.replaceAll('"', "")), again.map((page, n) => page.etag ?? seen[n]));
    await assert.rejects(all(client.listConfigurationSettings({ keyFilter: "a*b" })), refused(400));
  },
  async "revisions and the past"() {
    await client.setConfigurationSetting({ key: "r", value: "1" });
    await client.setConfigurationSetting({ key: "r", value: "2" });
    assert.deepEqual((await all(client.listRevisions({ keyFilter: "r" }))).map((item) => item.value), ["2", "1"]);
    const past = new Date(Date.now() - 3_600_000);
    assert.equal((await all(client.listConfigurationSettings({ acceptDateTime: past }))).length, 0);
    await assert.rejects(client.getConfigurationSetting({ key: "r" }, { acceptDateTime: past }), refused(404));
  },
  async "labels"() {
    await client.setConfigurationSetting({ key: "k", value: "v", label: "x" });
    assert.deepEqual((await all(client.listLabels({ nameFilter: "x" }))).map((item) => item.name), ["x"]);
  },
  async "snapshots"() {
    const filters = [{ keyFilter: "l*" }];
    const made = await client.beginCreateSnapshotAndWait(
      { name: "s", filters, compositionType: "key_label", retentionPeriodInSeconds: 3600, tags: { a: "b" } },
      { updateIntervalInMs: 10 },
    );
    assert.deepEqual([made.name, made.status, made.itemCount], ["s", "ready", 105]);
    assert.equal((await all(client.listConfigurationSettingsForSnapshot("s"))).length, 105);
    assert.equal((await client.archiveSnapshot("s", { etag: made.etag })).status, "archived");
    assert.deepEqual((await all(client.listSnapshots({ statusFilter: ["archived"] }))).map((item) => item.name), ["s"]);
    assert.equal((await client.recoverSnapshot("s")).status, "ready");
    assert.equal((await client.getSnapshot("s")).retentionPeriodInSeconds, 3600);
  },
  async "feature flags"() {
    const key = `${featureFlagPrefix}beta`;
    const value = { enabled: true, conditions: { clientFilters: [{ name: "Percentage" }] } };
    await client.setConfigurationSetting({ key, contentType: featureFlagContentType, value });
    assert.ok(isFeatureFlag(await client.getConfigurationSetting({ key })));
  },
  async "a wrong secret"() {
    const other = connectionString.replace(/Secret=.*/, `Secret=${Buffer.from("wrong").toString("base64")}`);
    const stranger = new AppConfigurationClient(other, { allowInsecureConnection: true });
    await assert.rejects(stranger.getConfigurationSetting({ key: "k" }), refused(401));
  },
};

for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`not ok ${name}: ${error.stack}`);
    process.exit(1);
  }
}
