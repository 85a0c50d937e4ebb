"""`noticesvc providers`: the configured ways out, and the addresses to register with those vendors that ask for one."""

from pathlib import Path

import click

from noticesvc.cli.running import config_option, json_option, load_settings, show


@click.command()
@config_option
@json_option
def providers(config_file: Path, as_json: bool) -> None:
    """List the configured providers in the order in which they are tried, each with the address for its vendor's pushes.

    The address carries a token of ours that makes unsigned pushes count, so treat it as a secret: whoever knows it can say that
    a message arrived. Addresses that are sent along with each message (Kannel, Twilio) have tokens of their own.
    """
    from noticesvc.bootstrap import key_sources, plugins
    from noticesvc.operations.callback_address import of_provider

    settings = load_settings(config_file)
    plugins.configure(settings.providers)  # says what is wrong with them
    master = key_sources.vault(settings)
    rows = [{"name": name, "kind": one.kind, "channel": one.channel, "priority": one.priority,
             "callback_url": of_provider(master, settings.server.public_url, name)}
            for name, one in sorted(settings.providers.items(), key=lambda item: (item[1].channel, item[1].priority, item[0]))]
    show(rows, {"name": "name", "kind": "kind", "channel": "channel", "priority": "priority", "callback_url": "address for pushes"},
         as_json=as_json)
