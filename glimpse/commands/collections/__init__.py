"""Commands for collections: brought in step with folders and catalogues, looked into, looked after."""
