"""The peer: django-post_office on PostgreSQL with two processes, the fastest durable mail queue of its kind measured here.

usage: peer_post_office.py prepare|enqueue|work   with PEER_DSN (host port database user), SINK_PORT, N in the environment

It sends what the service's benchmark sends: a subject and a body of about 2 KB, plain text, to one recipient each.
"""

import os
import sys

import django
from django.conf import settings

HOST, PORT, NAME, USER = os.environ["PEER_DSN"].split()
settings.configure(
    SECRET_KEY="bench", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": NAME, "USER": USER, "HOST": HOST, "PORT": PORT}},
    INSTALLED_APPS=["django.contrib.contenttypes", "post_office"], EMAIL_BACKEND="post_office.EmailBackend",
    EMAIL_HOST="127.0.0.1", EMAIL_PORT=int(os.environ["SINK_PORT"]),
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    POST_OFFICE={"THREADS_PER_PROCESS": 5, "BATCH_SIZE": 1000, "LOG_LEVEL": 1}, LOGGING={"version": 1, "disable_existing_loggers": True})
django.setup()

BODY = ("x" * 70 + "\n") * 26


def main(what: str) -> None:
    """Run one of the three steps."""
    from django.core.management import call_command
    if what == "prepare":
        call_command("migrate", verbosity=0)
    elif what == "enqueue":
        from post_office import mail
        for i in range(int(os.environ["N"])):
            mail.send([f"user{i}@example.org"], "a@example.org", subject=f"Notice {i}", message=BODY, headers={"X-Id": str(i)})
    else:
        call_command("send_queued_mail", processes=2, log_level=1)


if __name__ == "__main__":
    main(sys.argv[1])
