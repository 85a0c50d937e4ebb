"""The verb `noticesvc demo`."""

from pathlib import Path

import click


@click.command()
@click.option("--dir", "folder", metavar="DIR", default="demo", show_default=True, type=click.Path(path_type=Path, file_okay=False),
              help="Where to make the installation; one that an earlier demo made there is wiped.")
@click.option("--exit", "leave", is_flag=True, help="Stop the service at the end [env: DEMO_EXIT=1].")
def demo(folder: Path, leave: bool) -> None:
    """Show everything once: a broadcast to three people, its delivery, the service time, and a proof, verified offline.

    Makes an installation on SQLite with the sandbox, so that nothing leaves this machine, and uses it over HTTP. Leaves the
    service up until Ctrl-C.
    """
    import os
    import sys

    import httpx

    from noticesvc import logs
    from noticesvc.cli.demo import house, screen, story
    from noticesvc.errors import ConfigurationError, NoticesvcError

    logs.configure("critical")
    leave = leave or os.environ.get("DEMO_EXIT") == "1"
    out = screen.Screen(folder)
    try:
        out.title()
        key = house.make_installation(folder)
        with house.Service(folder / "config.toml", folder / "serve.log") as service:
            out.up(service.url)
            try:
                with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=15, trust_env=False) as http:
                    story.Story(http, out, folder, key).tell()
            except httpx.HTTPError as error:
                raise house.DemoFailed(f"The service does not answer ({type(error).__name__}); the end of its log:\n"
                                       f"{service.log_tail()}") from None
            if not leave:
                out.stays(service.url)
                status = service.wait()
                raise house.DemoFailed(f"The service ended by itself with status {status}. The end of its log:\n{service.log_tail()}")
            ended = service.stop()
        if ended != 0:
            raise house.DemoFailed(f"The service ended with status {ended} instead of 0; see {folder / 'serve.log'}.")
        out.end("The service is stopped; start it again with", folder / "config.toml")
    except ConfigurationError:
        raise
    except NoticesvcError as error:
        raise house.DemoFailed(f"The demo failed. {error}") from None
    except KeyboardInterrupt:
        sys.stdout.write("\n")
        out.end("Stopped. Start the service again with", folder / "config.toml")
