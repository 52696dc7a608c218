"""Renders plans and outcomes as text, JSON and Markdown. Pure.

Values are shown only where they are ours to show (`kvsync.rendering.values`); what came from files and stores is escaped.
"""
