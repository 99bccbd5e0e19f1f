"""Where labels go, a file each: files that list them, folders, words on photos, metadata of a collection."""
