"""Code that all routes share: parsing, answers, field types and the OpenAPI document.

No module here depends on a route.
"""
