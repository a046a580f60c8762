"""HTTP: what every route shares, such as parsing, answers, field types and the OpenAPI document.

Nothing here knows a route.
"""
