"""Edits of state files that keep comments, order and layout."""

from kvsync.app.editing.entries import Edit, EntryEdit, edit_entry, write_edit
from kvsync.app.editing.layout import formatted_files

__all__ = ["Edit", "EntryEdit", "edit_entry", "formatted_files", "write_edit"]
