"""What agents may ask over MCP, and the answers that they get."""
