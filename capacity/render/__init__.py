"""Rendering: tables, charts, figures, the report page, and files for other tools."""
