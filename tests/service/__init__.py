"""A local Sentinel Hub: the token, catalogue and process services over HTTPS, with scenes made by code, for tests.

Start with `fixtures.hub`. The real client, sentinelhub-py, talks to it as to the service in the network.
"""
