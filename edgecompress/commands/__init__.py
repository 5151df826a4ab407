"""The bodies of the commands: each module has ``command(name) -> click.Command``."""
