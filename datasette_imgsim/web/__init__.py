"""The plugin's part of Datasette's website: pages, filters, menus and permissions."""
