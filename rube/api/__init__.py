"""The messages and what everyone needs to speak them: keys, selectors, the textproto codec and the error tree.

Imports nothing else of rube, does no I/O and knows no clock. `rube.api_pb2` holds Object, Event and the service.
"""
