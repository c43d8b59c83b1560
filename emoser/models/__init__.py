"""Runtime outputs -> results. Nothing here opens a file or a socket."""
