"""Collections on a Milvus server, or in Milvus Lite's folder: the second store beside index/local."""
