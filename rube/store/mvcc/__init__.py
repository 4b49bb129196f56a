"""Versions over an engine, as etcd keeps them: each write appends a row keyed by revision; the key index is in memory.

This package is the core of the embedded and of the replicated store. Pure: `log` (the rows), `index` (key to
revisions), `evaluate` (the effect of a group of transactions), `tail` (recent changes). Over an engine: `recovery`,
`versions` (reads), `writer`, `watch`, `compaction`, `checking`, `loading`, `salvage`. Applying a transaction takes no
clock and no randomness, so that members that apply the same transactions hold the same rows.
"""
