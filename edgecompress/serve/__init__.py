"""Artifacts over HTTP, with onnxruntime alone.

Read in this order: settings, refusal, asked, models, batching, service, api, app, outer, connection, server.
"""
