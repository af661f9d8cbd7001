"""The languages that providers speak: read a request, write a reply, a stream or an error, read usage. No I/O."""
