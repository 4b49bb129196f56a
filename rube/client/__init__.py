"""The typed client with several endpoints, the informer cache and the work queue."""
