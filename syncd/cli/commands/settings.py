"""Show and check the configuration: `syncd config show` and `check`."""

from syncd.cli import printing
from syncd.cli.commands.options import ConfigFile, Given, load_config
from syncd.text import visible


def show(config: ConfigFile = None) -> None:
    """Show every key in force, and where it comes from.

    Each line is a key as the file would have it. The comment behind it names its origin: file, default, or environment
    variables. Secrets are shown as references.
    """
    from syncd.cli import toml
    from syncd.config import explained

    loaded, settings = explained(config or Given.config)
    printing.line(f"# {loaded.path}")
    for each in settings:
        line = f"{toml.dotted(each.key)} = {toml.value(each.value)}  # {visible(each.origin)}"
        printing.own(f"{line}\n")  # whole, however long a list is


def check(config: ConfigFile = None) -> None:
    """Check the configuration without the network.

    Reports all mistakes at once, and exits with 78 if there are any. Secrets and connectors are tried too, because a
    pass needs them. `syncd check` also asks the CRMs and Recotap.
    """
    loaded = load_config(config, secrets=True, connectors=True)
    names = ", ".join(source.name for source in loaded.sources)
    printing.line(f"{loaded.path} is valid. Its sources: {names}")
