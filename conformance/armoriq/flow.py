"""ArmorIQ's own Python client, unmodified, as an agent uses it: demo.env is its whole configuration.

    flow.py NAME

runs one scripted flow and prints a JSON line for each step: {"step", "ok", "detail", "wire"}; wire is what the client
exchanged during the step, read by a hook of its HTTP client. A line {"ask", ...} wants something done that an agent cannot
do for itself (approve, register another agent); the answer comes as a line on standard input. A flow that got to its end
says {"step": "done"}; the first step that fails ends it.
"""

import asyncio
import hashlib
import json
import sys
import time
import uuid

from armoriq_sdk import ArmorIQClient
from armoriq_sdk.exceptions import (
    ConfigurationException,
    DelegationException,
    IntentMismatchException,
    IntentReanchorException,
    InvalidTokenException,
    PolicyBlockedException,
    PolicyHoldException,
)
from armoriq_sdk.models import DelegationRequestParams, IntentToken, InvokeOptions
from armoriq_sdk.session import ReportOptions, SessionOptions
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

wire = []


def say(**line):
    print(json.dumps(line, default=str), flush=True)


def ask(what, **more):
    """Has the test do something, and returns what it answers."""
    say(ask=what, **more)
    return json.loads(sys.stdin.readline())


def seen(response):
    body = response.read()
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    wire.append(
        {
            "method": response.request.method,
            "path": response.request.url.path,
            "status": response.status_code,
            "type": response.headers.get("content-type", ""),
            "record": response.headers.get("gatewright-record", ""),
            "receipt": response.headers.get("gatewright-receipt", ""),
            "answer": answer,
        }
    )


def connect(**more):
    client = ArmorIQClient(**more)
    client.http_client.event_hooks = {"response": [seen]}
    return client


def step(name, act):
    """Runs one step; what it returns is its detail."""
    wire.clear()
    try:
        detail, ok = act(), True
    except Exception as e:
        detail, ok = {"raised": type(e).__name__, "said": str(e)[:800]}, False
    say(step=name, ok=ok, detail=detail, wire=wire)
    if not ok:
        sys.exit(1)
    return detail


def expect(true, what):
    if not true:
        raise AssertionError(what)


def refused(kinds, act):
    """What the client raised, which must be one of these kinds."""
    try:
        got = act()
    except kinds as e:
        return {"raised": type(e).__name__, "said": str(e)[:800], "error": {k: v for k, v in vars(e).items() if v is not None}}
    raise AssertionError(f"not refused: {got}")


def text(result):
    """The text of a tool's result, which stands as it does in MCP."""
    return "\n".join(part.get("text", "") for part in result.get("content", []))


def planned(client, *steps, policy=None, seconds=300):
    """A token for a plan of (mcp, action, params)."""
    plan = {
        "goal": "conformance",
        "steps": [{"action": a, "tool": a, "mcp": m, "params": p, "description": f"{a} on {m}"} for m, a, p in steps],
    }
    return client.get_intent_token(client.capture_plan("flow", "conformance", plan), policy=policy, validity_seconds=seconds)


def shown(token):
    return {
        "token_id": token.token_id,
        "plan_id": token.plan_id,
        "plan_hash": token.plan_hash,
        "merkle_root": token.raw_token.get("merkle_root"),
        "proofs": len(token.step_proofs),
        "compact": token.jwt_token or "",
        "inside": token.raw_token["token"].get("jwt", ""),
        "validation": token.policy_validation,
    }


SUM = ("demo", "calculate", {"expression": "6*7"})
NOTES = ("demo", "notes_list", {"limit": 5})
NOOP = ("e2e", "noop", {})
DENIED = ("e2e", "denied", {})
LARGE = ("e2e", "pay", {"amount": 5000, "recipient": "vendor@example.com"})
SMALL = ("e2e", "pay", {"amount": 10, "recipient": "vendor@example.com"})


def do(client, call, token, **more):
    mcp, action, params = call
    result = client.invoke(mcp, action, token, params=params, **more)
    expect(result.status == "success", f"{result}")
    return {"text": text(result.result)}


def flow_plan():
    client = connect()
    token = None

    def issue():
        nonlocal token
        token = planned(client, SUM, NOOP, DENIED)
        expect(len(token.step_proofs) == 3 and all(isinstance(p, list) for p in token.step_proofs), f"proofs {token.step_proofs}")
        return shown(token)

    def verify():
        expect(client.verify_token(token), "the client does not verify the token")
        for member, value in {"plan_hash": "0" * 64, "expires_at": 4102444800, "identity": "somebody else"}.items():
            forged = dict(token.raw_token, token=dict(token.raw_token["token"], **{member: value}))
            expect(not client.verify_token(token.model_copy(update={"raw_token": forged})), f"verifies with another {member}")
        return {}

    def narrowed():
        mine = planned(client, SUM, NOOP, policy={"allow": ["*"], "deny": ["e2e/noop"]})
        expect(client.verify_token(mine), "a token with a policy does not verify")
        out = refused(PolicyBlockedException, lambda: do(client, NOOP, mine))
        return {"blocked": out, **do(client, SUM, mine)}

    def unread():
        return refused((InvalidTokenException, PolicyBlockedException), lambda: planned(client, SUM, policy={"permit": "everything"}))

    def completed():
        client.complete_plan(token.plan_id)
        expect(wire and wire[-1]["status"] < 400, f"status answered {wire}")
        return refused((InvalidTokenException, IntentMismatchException), lambda: do(client, SUM, token))

    step("token", issue)
    step("verify", verify)
    step("invoke", lambda: do(client, SUM, token))
    step("invoke again", lambda: do(client, SUM, token))
    step("on behalf", lambda: do(client, SUM, token, user_email="somebody@else.example"))
    step("other arguments", lambda: refused(IntentMismatchException, lambda: do(client, ("demo", "calculate", {"expression": "6*8"}), token)))
    step("outside the plan", lambda: refused(IntentMismatchException, lambda: do(client, NOTES, token)))
    step("other server", lambda: refused(IntentMismatchException, lambda: do(client, ("e2e", "calculate", SUM[2]), token)))
    step("block", lambda: refused(PolicyBlockedException, lambda: do(client, DENIED, token)))
    step("policy of the plan", narrowed)
    step("policy not understood", unread)
    step("status", completed)


def flow_holds():
    client = connect()
    token = None

    def issue():
        nonlocal token
        token = planned(client, LARGE, SMALL)
        return shown(token)

    def hold(params=LARGE[2]):
        out = refused(PolicyHoldException, lambda: client.invoke("e2e", "pay", token, params=params))
        out["id"] = (out["error"].get("delegation_context") or {}).get("delegationId")
        expect(out["id"], f"no delegationId in {out}")
        return out

    def claimed():
        """An approval is what an approver said, not what the call says of itself."""
        return hold({**LARGE[2], "_approvals": 999, "_delegation_id": "apr_0", "_policy_context": {"is_financial": False}})

    def rejected():
        first = hold()
        ask("reject", id=first["id"])
        status = client.get_delegation_status(first["id"])
        expect(status == "rejected", f"status {status}")
        second = hold()
        expect(second["id"] != first["id"], "the rejected request is open again")
        return {"id": first["id"], "next": second["id"]}

    def waited():
        asked = []

        def on_hold(info):
            if info.delegation_id and not asked:
                asked.append(info.delegation_id)
                ask("approve", id=info.delegation_id)

        options = InvokeOptions(wait_for_approval=True, user_email="anybody@example.com", on_hold=on_hold, delegation_timeout_ms=20000)
        result = client.invoke_with_policy("e2e", "pay", token, params=LARGE[2], options=options)
        return {"text": text(result.result), "id": asked[0]}

    def by_hand():
        """The calls of an approval, one by one."""
        email, plan = "anybody@example.com", token.plan_id
        held = hold()
        expect(client.check_approved_delegation(email, "pay", 5000.0, plan) is None, "approved before anybody approved")
        again = client.create_delegation_request(
            DelegationRequestParams(tool="pay", action="execute", arguments=LARGE[2], amount=5000, requester_email=email, domain="e2e", plan_id=plan)
        )
        expect(again.delegation_id == held["id"], f"asked for {held['id']}, got {again}")
        expect(client.get_delegation_status(held["id"]) == "pending", "not pending")
        ask("approve", id=held["id"])
        approved = client.check_approved_delegation(email, "pay", 5000.0, plan)
        expect(approved is not None and approved.delegation_id == held["id"], f"approved: {approved}")
        expect(client.check_approved_delegation(email, "pay", 5000.0, "plan_unknown") is None, "approved for another plan")
        out = do(client, LARGE, token)
        client.mark_delegation_executed(email, held["id"], plan)
        return {"id": held["id"], **out}

    def unplanned():
        """A request that names no plan: what the end-to-end suite of the vendor makes."""
        made = client.create_delegation_request(DelegationRequestParams(tool="pay", action="pay", amount=5000, requester_email="anybody@example.com", domain="e2e", reason="no plan"))
        expect(client.check_approved_delegation("anybody@example.com", "pay", 5000.0) is None, "approved without a plan")
        return {"id": made.delegation_id, "status": made.status}

    step("token", issue)
    step("small", lambda: do(client, SMALL, token))
    step("hold", hold)
    step("claimed approval", claimed)
    step("reject", rejected)
    step("wait for approval", waited)
    step("spent", hold)
    step("by hand", by_hand)
    step("spent again", hold)
    step("without a plan", unplanned)


def folds(leaf, proof, root):
    """Whether an RFC 6962 inclusion proof leads from a leaf to a root."""
    at = bytes.fromhex(leaf)
    for sibling in proof:
        other = bytes.fromhex(sibling["sibling_hash"])
        pair = other + at if sibling["position"] == "left" else at + other
        at = hashlib.sha256(b"\x01" + pair).digest()
    return at.hex() == root


def flow_trust():
    client = connect()
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    second = ask("agent", key=key.hex())
    other = connect(api_key=second["key"], agent_id=second["id"], user_id=second["owner"])
    token = child = None

    def issue():
        nonlocal token
        token = planned(client, SUM, NOOP)
        return shown(token)

    def reanchored():
        before = refused(IntentMismatchException, lambda: do(client, NOTES, token))
        plan = dict(token.raw_token["plan"])
        plan["steps"] = plan["steps"] + [{"action": "notes_list", "tool": "notes_list", "mcp": "demo", "params": NOTES[2]}]
        answer = client.reanchor(token, plan, reason="the plan grew")
        payload = answer["delta"]["payload"]
        expect(answer["trustId"] and payload["from_hash"] != payload["to_hash"], f"{answer}")
        do(client, NOTES, token)
        again = client.reanchor(token, plan, reason="the plan grew")
        expect(again["trustId"] == answer["trustId"], f"the same plan anchored twice: {again}")
        return {"before": before, "from": payload["from_hash"], "to": payload["to_hash"], **do(client, SUM, token)}

    def not_reanchored():
        plan = {"goal": "none", "steps": []}
        return refused(IntentReanchorException, lambda: client.reanchor(token, plan, reason="nothing is left"))

    def stranger():
        """Who is not the plan's agent changes nothing about it."""
        out = refused(IntentReanchorException, lambda: other.reanchor(token, token.raw_token["plan"], reason="mine now"))
        refused(InvalidTokenException, lambda: do(other, SUM, token))
        refused(DelegationException, lambda: other.revoke(token, "mine now"))
        return out

    def subtree():
        base = planned(client, SUM, NOOP, NOTES)
        got = client.delegate_subtree(base, delegate_public_key=key.hex(), subtree_path="/steps/[1]", validity_seconds=60)
        root = base.raw_token["merkle_root"]
        expect(got["trust_id"] and folds(got["subtree_root"], got["inclusion_proof"], root), f"{got}")
        expect(not folds(got["subtree_root"], got["inclusion_proof"], "0" * 64), "folds to anything")
        expect(got["delta"]["payload"]["parent_plan_hash"] == base.plan_hash, f"{got['delta']}")
        narrow = wire[-1]["answer"]["delegation"]  # the client hands out the parent's token and drops the narrower one
        mine = IntentToken(
            token_id=narrow["token_id"], plan_hash=narrow["plan_hash"], plan_id=narrow["plan_id"], signature=narrow["signature"],
            issued_at=narrow["issued_at"], expires_at=narrow["expires_at"], composite_identity="", raw_token={"token": narrow},
        )
        expect(len(json.dumps(got["delegated_token"].subtree_delegation)) > 100, "no envelope")
        out = do(other, NOOP, mine)
        refused((IntentMismatchException, InvalidTokenException), lambda: do(other, SUM, mine))
        refused(InvalidTokenException, lambda: do(client, NOOP, mine))
        refused(DelegationException, lambda: client.delegate_subtree(base, delegate_public_key=key.hex(), subtree_path="/steps/[7]"))
        return out

    def delegated():
        nonlocal child
        got = client.delegate(token, key.hex(), validity_seconds=120, allowed_actions=["calculate"], target_agent=second["id"])
        child = got.delegated_token
        expect(child.token_id != token.token_id and got.delegation_id and child.total_steps >= 1, f"{got}")
        expect(child.expires_at <= token.expires_at, "the child outlives its parent")
        return {"token_id": child.token_id, **do(other, SUM, child)}

    def outside_delegation():
        out = refused((IntentMismatchException, InvalidTokenException), lambda: do(other, NOOP, child))
        refused(InvalidTokenException, lambda: do(client, SUM, child))
        refused(DelegationException, lambda: client.delegate(token, "00", validity_seconds=60))
        refused(DelegationException, lambda: client.delegate(token, key.hex(), allowed_actions=["no_such_action"]))
        return out

    def revoked():
        answer = client.revoke(token, "the work is over", cascade=True)
        expect(answer["trustId"] and child.token_id in answer["cascadedRevocations"], f"{answer}")
        out = refused(InvalidTokenException, lambda: do(client, SUM, token))
        refused(InvalidTokenException, lambda: do(other, SUM, child))
        return {"revoked": out, "cascaded": answer["cascadedRevocations"]}

    step("token", issue)
    step("reanchor", reanchored)
    step("reanchor to nothing", not_reanchored)
    step("stranger", stranger)
    step("delegate a subtree", subtree)
    step("delegate", delegated)
    step("outside the delegation", outside_delegation)
    step("revoke", revoked)


def session(mode):
    """A session of a framework integration: plan, check, dispatch or run, report, grow."""
    client = connect()
    s = client.start_session(SessionOptions(mode=mode, validity_seconds=300))
    name = {call: f"{call[0]}__{call[1]}" for call in (SUM[:2], NOTES[:2], NOOP[:2], DENIED[:2], LARGE[:2])}
    calls = [{"name": name[c[:2]], "args": c[2]} for c in (SUM, DENIED, LARGE)]

    def check(call):
        d = s.check(name[call[:2]], call[2])
        return {"allowed": d.allowed, "action": d.action, "reason": d.reason, "id": d.delegation_id}

    def decided(call, action):
        d = check(call)
        expect(d["action"] == action and d["allowed"] == (action == "allow"), f"{d}")
        return d

    def start():
        token = s.start_plan(calls, goal="conformance")
        expect(s.last_plan_start == "minted" and s.start_plan(calls) is token, s.last_plan_start)
        return shown(token)

    def run():
        if mode == "local":
            return {}
        return {"text": text(s.dispatch(name[SUM[:2]], SUM[2]))}

    def report():
        s.report(name[SUM[:2]], SUM[2], "42", ReportOptions(status="success", duration_ms=12.5))
        expect(wire and wire[-1]["path"] == "/iap/audit" and wire[-1]["status"] < 300, f"{wire}")
        s.report(name[SUM[:2]], SUM[2], None, ReportOptions(status="failed", error_message="no"))
        expect(wire[-1]["status"] < 300, f"{wire}")
        return {}

    def held():
        if mode == "local":  # nobody to ask there: a hold is a block
            return decided(LARGE, "block")
        first = decided(LARGE, "hold")
        expect(first["id"], "no delegation to wait for")
        ask("approve", id=first["id"])
        expect(asyncio.run(s.await_approval(first["id"], timeout=10, interval=0.05)) == "approved", "not approved")
        return first

    def approved():
        decided(LARGE, "allow")
        paid = {"text": text(s.dispatch(name[LARGE[:2]], LARGE[2]))}
        refused(PolicyHoldException, lambda: s.dispatch(name[LARGE[:2]], LARGE[2]))
        return paid

    def grown():
        before = s.current_token.token_id
        s.start_plan(calls + [{"name": name[NOOP[:2]], "args": {}}])
        expect(s.last_plan_start == "reanchored" and s.current_token.token_id == before, s.last_plan_start)
        decided(NOOP, "allow")
        out = {} if mode == "local" else {"text": text(s.dispatch(name[NOOP[:2]], {}))}
        return out

    step("start", start)
    step("allow", lambda: decided(SUM, "allow"))
    step("outside the plan", lambda: decided(NOTES, "block"))
    step("block", lambda: decided(DENIED, "block"))
    step("dispatch", run)
    step("report", report)
    step("hold", held)
    if mode != "local":
        step("approved", approved)
    step("grow", grown)
    s.close()


def flow_catalogue():
    client = connect()

    def bootstrap():
        boot = client.bootstrap()
        names = [m["name"] for m in boot["mcps"]]
        expect({"demo", "e2e"} <= set(names), f"{boot}")
        expect(boot["toolMap"].get("calculate") == "demo" and boot["toolMap"].get("pay") == "e2e", f"{boot['toolMap']}")
        return {"names": names, "org": boot.get("org")}

    def listed():
        data = client.list_mcps()
        expect({"demo", "e2e"} <= {m["name"] for m in data}, f"{data}")
        return {"data": data}

    def schemas():
        tools = client.get_mcp_tool_schemas("demo")
        by_name = {t["function"]["name"]: t["function"] for t in tools if t["type"] == "function"}
        expect(by_name["calculate"]["parameters"]["required"] == ["expression"], f"{tools}")
        expect(not any(t["function"]["name"] == "calculate" for t in client.get_mcp_tool_schemas("e2e")), "e2e has demo's tool")
        return {"names": sorted(by_name)}

    def unknown():
        try:
            tools = client.get_mcp_tool_schemas("nothing-of-the-kind")
        except Exception as e:
            return {"raised": type(e).__name__}
        expect(tools == [], f"{tools}")
        return {}

    def metadata():
        m = client.fetch_tool_metadata("e2e")
        expect(m.name == "e2e" and m.mcp_id and wire[-1]["status"] == 200, f"{m} {wire}")
        return {"metadata": m.model_dump()}

    def people():
        who = client.resolve_user(client.user_id)
        expect(who["userId"] == client.user_id, f"{who}")
        refused(ConfigurationException, lambda: client.resolve_user("Somebody@Else.Example"))
        role = client._resolve_user_role("somebody@else.example")
        expect(isinstance(role["limit"], (int, float)), f"{role}")
        return {"user": who, "role": role}

    def preflight():
        calls = [{"tool": "calculate", "mcp": "demo", "params": SUM[2]}]
        out = client.refine({"agent_id": client.agent_id, "user_prompt": "compute", "tool_calls": calls, "authority_snapshot": {}})
        return out

    step("bootstrap", bootstrap)
    step("servers", listed)
    step("tool schemas", schemas)
    step("unknown server", unknown)
    step("metadata", metadata)
    step("people", people)
    step("preflight", preflight)


def flow_usage():
    client = connect()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    entries = [{"model": "example-model", "inputTokens": 1200, "outputTokens": 34, "cacheReadTokens": 5, "cacheWriteTokens": 6}]

    def recorded():
        out = client.record_token_usage("flow", "session-1", entries, day, 3, repo="conformance", device_id=str(uuid.uuid4()), device_name="here")
        expect(out["ok"] and out["recorded"] == 1, f"{out}")
        again = client.record_token_usage("flow", "session-2", entries, day, 3)
        expect(again["ok"], f"{again}")
        zero = client.record_token_usage("flow", "session-2", [dict(entries[0], inputTokens=0, outputTokens=0)], day, 3)
        expect(zero["ok"], f"{zero}")
        return out

    def streamed():
        opened = client.initialize_usage_stream()
        expect(opened["ok"], f"{opened}")
        generation = opened["value"]["generation"]
        snapshot = {"product": "flow", "sessionId": "session-3", "usageDate": day, "usageHour": 4, "revision": 1, "entries": entries}
        batch = {"generation": generation, "batchId": str(uuid.uuid4()), "snapshots": [snapshot]}
        first, second = client.record_token_usage_batch(batch), client.record_token_usage_batch(batch)
        expect(first["ok"] and first["value"]["results"][0]["status"] == "applied", f"{first}")
        expect(second["ok"], f"the same batch again: {second}")
        older = dict(batch, batchId=str(uuid.uuid4()), snapshots=[dict(snapshot, revision=1)])
        expect(client.record_token_usage_batch(older)["ok"], "a revision that is there already")
        return {"generation": generation}

    def reset():
        old = client.initialize_usage_stream()["value"]["generation"]
        fresh = client.reset_usage_stream(old, str(uuid.uuid4()))
        expect(fresh["ok"] and fresh["value"]["generation"] != old, f"{fresh}")
        return fresh["value"]

    def run():
        out = client.report_usage_run(str(uuid.uuid4()), {"kind": "discovery", "state": "complete", "sessions": 3})
        expect(out["ok"], f"{out}")
        return out["value"]

    step("recorded", recorded)
    step("stream", streamed)
    step("reset", reset)
    step("run", run)


flows = {
    "plan": flow_plan,
    "holds": flow_holds,
    "trust": flow_trust,
    "local": lambda: session("local"),
    "proxy": lambda: session("proxy"),
    "sdk": lambda: session("sdk"),
    "catalogue": flow_catalogue,
    "usage": flow_usage,
}

if __name__ == "__main__":
    flows[sys.argv[1]]()
    say(step="done", ok=True, detail={}, wire=[])
