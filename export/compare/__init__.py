"""Encoders x heads x bits on cached tokens: tables and plots."""
