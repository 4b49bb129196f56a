"""A store on a server that speaks MySQL's protocol: MariaDB and MySQL (InnoDB), TiDB. An adapter: real sockets.

Any number of apiservers may use one database at once. `schema` has the tables and the settings that a server needs;
`rows` the form of a write; `session`, `pool` and `errors` are the way to the server; `transaction` commits, `reads`
reads, `durability` waits for the server's disk, `poller` gives watches the commits of others, `compaction` deletes old
rows; `store` joins them, `loader` and `check` are for copies and for verification. docs/decisions/sql-store.md has the
reasons.
"""
