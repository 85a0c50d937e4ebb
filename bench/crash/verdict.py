"""Whether anything was lost or silently sent twice, judged from what sinks and clients wrote down, against what the API shows.

Used by bench.crash.run. The sinks' logs are the truth; the service's own account must agree with them in both directions.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]
_SHOWN = 5  # findings of one kind that are told in full


@dataclass
class Verdict:
    """What was found wrong (nothing, one hopes), and what is worth knowing beside it."""

    findings: list[str] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def found(self, kind: str, which: Sequence[Any]) -> None:
        """Add a finding if there is any."""
        if which:
            more = f" and {len(which) - _SHOWN} more" if len(which) > _SHOWN else ""
            self.findings.append(f"{kind}: {', '.join(map(str, list(which)[:_SHOWN]))}{more}")


def accepted_once(verdict: Verdict, accepted: Sequence[Line], wanted: int, total: int) -> dict[str, Line]:
    """Every key has one notice, every request was accepted, and the service counts as many; the notices by id."""
    ids: dict[str, set[str]] = defaultdict(set)
    for line in accepted:
        ids[line["key"]].add(line["id"])
    verdict.found("an idempotency key has two notices", [key for key, found in ids.items() if len(found) > 1])
    if len(ids) != wanted:
        verdict.findings.append(f"{wanted} notices were posted, and {len(ids)} accepted")
    if total != len(ids):
        verdict.findings.append(f"the service counts {total} notices, and {len(ids)} were accepted")
    verdict.numbers["accepted"] = len(ids)
    return {line["id"]: line for line in accepted}


def judge_channel(verdict: Verdict, channel: str, lines: Sequence[Line], notices: Mapping[str, Any], accepted: Mapping[str, Line],
                  most_copies: int) -> None:
    """Compare one sink's log with what the API shows of the channel.

    1. Each hand-over that the sink saw is an attempt that GET shows, and is no attempt that was not sent; none came twice.
    2. Each attempt that is said to have been taken was taken and answered so; each refusal for good was one.
    3. A mandatory notice was taken at least once, or refused for good; a commercial one at most once.
    4. Second copies beyond those that the sink provoked itself are within the bound.
    """
    seen: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line["event"] in ("taken", "refused"):
            seen[line["reference"]].append(line)
    shown = {f"{notice['id']}.{channel}.{a['number']}": a["outcome"] for notice in notices.values()
             for one in notice["deliveries"] if one["channel"] == channel for a in one["attempts"]}

    verdict.found(f"{channel}: came to the sink, but no attempt shows it", [r for r in seen if r not in shown])
    verdict.found(f"{channel}: came to the sink, but its attempt says it was not sent", [r for r in seen if shown.get(r) == "not_sent"])
    verdict.found(f"{channel}: an attempt is in flight for ever", [r for r in shown if shown[r] is None])
    verdict.found(f"{channel}: one attempt was handed over twice", [r for r, found in seen.items() if len(found) > 1])
    good = {r for r, found in seen.items() if any(x["event"] == "taken" and x["answered"] for x in found)}
    for_good = {r for r, found in seen.items() if any(x["event"] == "refused" and x["for_good"] for x in found)}
    verdict.found(f"{channel}: said to be taken, but the sink knows nothing of it",
                  [r for r, outcome in shown.items() if outcome in ("submitted", "relayed", "arrived") and r not in good])
    verdict.found(f"{channel}: said to be refused, but the sink did not refuse it",
                  [r for r, outcome in shown.items() if outcome in ("rejected", "failed_permanent") and r not in for_good])

    taken: Counter[str] = Counter()
    provoked: Counter[str] = Counter()
    for reference, found in seen.items():
        notice_id = reference.partition(".")[0]
        taken[notice_id] += sum(x["event"] == "taken" for x in found)
        provoked[notice_id] += sum(x["event"] == "taken" and not x["answered"] for x in found)
    refused = {r.partition(".")[0] for r in for_good}
    states = {n["id"]: next((d["state"] for d in n["deliveries"] if d["channel"] == channel), None) for n in notices.values()}
    commercial = {i for i, line in accepted.items() if line["category"] == "commercial"}
    verdict.found(f"{channel}: LOST, never reached", [i for i in accepted if not taken[i] and i not in refused
                                                      and not (i in commercial and states.get(i) == "unknown")])
    verdict.found(f"{channel}: a commercial message came twice", [i for i in commercial if taken[i] > 1])
    # A copy after one that the sink left unanswered is what the category asks for; another one is the kill's.
    copies = {i: max(0, taken[i] - 1 - provoked[i]) for i in taken}
    if sum(copies.values()) > most_copies:
        verdict.findings.append(f"{channel}: {sum(copies.values())} second copies, more than the {most_copies} that these kills allow")
    verdict.numbers[channel] = {"taken": sum(taken.values()), "second copies": sum(copies.values()), "allowed": most_copies,
                                "provoked": sum(provoked.values()), "outcomes": dict(Counter(map(str, shown.values())))}
    ids: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if line.get("message_id"):
            ids[line["reference"].partition(".")[0]].add(line["message_id"])
    verdict.found(f"{channel}: the Message-ID changed between attempts", [i for i, found in ids.items() if len(found) > 1])
    verdict.found(f"{channel}: two notices share a Message-ID", _shared(ids))


def judge_states(verdict: Verdict, notices: Mapping[str, Any], unsettled: Sequence[str]) -> None:
    """Everything came to an end that the contract knows."""
    verdict.found("not finished in time", unsettled)
    wrong = [f"{n['id']} {d['channel']} {d['state']}" for n in notices.values() for d in n["deliveries"]
             if d["state"] in ("undeliverable", "cancelled", "expired")]
    verdict.found("ended in a way that nothing called for", wrong)
    verdict.numbers["states"] = dict(Counter(f"{d['channel']} {d['state']}" for n in notices.values() for d in n["deliveries"]))


def judge_inbox(verdict: Verdict, messages: Mapping[str, int], accepted: Mapping[str, Line]) -> None:
    """Each notice is in its recipient's inbox once."""
    verdict.found("in_site: LOST, not in the inbox", [i for i in accepted if not messages.get(i)])
    verdict.found("in_site: more than once in the inbox", [i for i, count in messages.items() if count > 1])


def judge_reports(verdict: Verdict, lines: Sequence[Line], notices: Mapping[str, Any]) -> None:
    """Every delivery report that the service took stands as evidence."""
    refused = Counter(line["status"] for line in lines if line["event"] == "reported" and line["status"] != 200)
    if refused:
        verdict.findings.append(f"delivery reports were refused: {dict(refused)}")
    taken = reported(lines)
    verdict.found("sms: a delivery report was taken and is no evidence", sorted(taken - arrived(notices)))
    verdict.numbers["reports"] = len(taken)


def reported(lines: Sequence[Line]) -> set[str]:
    """The attempts of which the service took a delivery report."""
    return {line["reference"] for line in lines if line["event"] == "reported" and line["status"] == 200}


def arrived(notices: Mapping[str, Any]) -> set[str]:
    """The attempts of which such a report stands as evidence."""
    return {f"{n['id']}.{e['channel']}.{e['attempt']}" for n in notices.values() for e in n["evidence"]
            if e["channel"] == "sms" and e["kind"] == "arrived"}


def _shared(ids: Mapping[str, set[str]]) -> list[str]:
    owners: dict[str, set[str]] = defaultdict(set)
    for notice_id, found in ids.items():
        for message_id in found:
            owners[message_id].add(notice_id)
    return [i for i, mine in owners.items() if len(mine) > 1]
