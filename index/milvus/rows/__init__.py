"""Rows of entries as Milvus has them: what is filed, asked, and counted. Pure: no server."""
