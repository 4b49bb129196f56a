"""`rube bench fleet`: an apiserver under many hollow nodes, which are real rubelets whose driver only pretends.

Kubernetes calls them so (kubemark). Here belong the pretending driver, the course of the bench, and its report.
"""
