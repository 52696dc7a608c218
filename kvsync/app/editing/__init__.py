"""Edits of state files that keep comments, order and layout."""

from kvsync.app.editing.adoption import AdoptedFiles, LeftEntry, adopt_into_files
from kvsync.app.editing.entries import Edit, edit_entry, write_edit
from kvsync.app.editing.entry_nodes import EntryEdit
from kvsync.app.editing.layout import formatted_files
from kvsync.app.editing.lifetimes import given_lifetime
from kvsync.app.editing.options import given_metadata, given_tags

__all__ = [
    "AdoptedFiles",
    "Edit",
    "EntryEdit",
    "LeftEntry",
    "adopt_into_files",
    "edit_entry",
    "formatted_files",
    "given_lifetime",
    "given_metadata",
    "given_tags",
    "write_edit",
]
