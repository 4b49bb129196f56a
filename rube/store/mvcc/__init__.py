"""Versions over an engine, as etcd keeps them: one appended row a write, keyed by revision; the key index in memory.

The core of the embedded and of the replicated store. Pure: `log` (the rows), `index` (key to revisions), `evaluate`
(what a group of transactions does), `tail` (recent changes). Over an engine: `recovery`, `versions` (reads),
`writer`, `watch`, `compaction`, `checking`, `loading`, `salvage`. Applying a transaction takes no clock and no
randomness, so that members that apply the same transactions hold the same rows.
"""
