"""A store on a server that speaks MySQL's protocol: MariaDB and MySQL (InnoDB), TiDB. An adapter: real sockets.

Any number of apiservers may use one database at once. `schema` has the tables and says what a server must be like;
`rows` how a write is kept; `session`, `pool` and `errors` are the way to the server; `transaction` commits, `reads`
reads, `durability` waits for the server's disk, `poller` tells watches what others committed, `compaction` forgets;
`store` puts them together, `loader` and `check` are for copies and for verification. docs/decisions/sql-store.md says
why it is so.
"""
