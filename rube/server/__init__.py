"""The apiserver: the service api.Api over a Store. Knows objects; the store below knows only bytes."""
