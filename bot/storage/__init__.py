"""The database: tables, migrations, and the store that services write through."""
