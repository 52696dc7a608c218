"""Writes, reads, lists and deletes with the SDK that is installed; prints its version."""

import os

from azure.appconfiguration import VERSION, AzureAppConfigurationClient, ConfigurationSetting
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

client = AzureAppConfigurationClient.from_connection_string(os.environ["AZURE_APPCONFIG_CONNECTION_STRING"])
first = client.add_configuration_setting(ConfigurationSetting(key="a/b", label="prod", value="1", tags={"team": "web"}))
try:
    client.add_configuration_setting(ConfigurationSetting(key="a/b", label="prod", value="2"))
except ResourceExistsError:
    first.value = "3"
changed = client.set_configuration_setting(first, match_condition=MatchConditions.IfNotModified)
client.set_read_only(changed)
client.set_read_only(changed, read_only=False)
listed = [(one.key, one.label, one.value, one.tags) for one in client.list_configuration_settings(key_filter="a/*")]
assert listed == [("a/b", "prod", "3", {"team": "web"})], listed
assert len(list(client.list_revisions(key_filter="a/b"))) == 4
client.delete_configuration_setting("a/b", "prod")
try:
    client.get_configuration_setting("a/b", "prod")
except ResourceNotFoundError:
    print(VERSION)
