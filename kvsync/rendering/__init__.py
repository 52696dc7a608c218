"""A plan and its outcomes as text for people, as JSON for programs, as Markdown for a pull request. Pure.

Values are shown only where they are ours to show (`kvsync.rendering.values`); what came from files and stores is escaped.
"""
