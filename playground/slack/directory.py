"""Web API methods about people, places and the app itself, and blocks.validate."""

from playground import world
from playground.options import Json
from playground.slack import blocks as rules
from playground.slack.call import Call, Method, SlackError
from playground.slack.chat import cursor_of
from playground.slack.store import Place


def user_json(person: world.Person) -> Json:
    """A person as users.info and users.list write them."""
    profile: Json = {"real_name": person.name, "display_name": person.handle, "team": person.team}
    if person.email:
        profile["email"] = person.email
    user: Json = {
        "id": person.id,
        "team_id": person.team,
        "name": person.handle,
        "real_name": person.name,
        "deleted": False,
        "tz": "Europe/Berlin",
        "is_bot": person.is_bot,
        "is_app_user": False,
        "is_restricted": person.is_guest,
        "is_ultra_restricted": False,
        "is_admin": False,
        "is_owner": False,
        "profile": profile,
    }
    if person.is_stranger:
        user["is_stranger"] = True
    return user


def channel_json(place: Place) -> Json:
    """A conversation as conversations.info and conversations.list write it."""
    if place.person:
        return {"id": place.id, "is_im": True, "is_channel": False, "user": place.person, "is_archived": False}
    name = place.name.lstrip("#")
    return {
        "id": place.id,
        "name": name,
        "name_normalized": name,
        "is_channel": True,
        "is_group": False,
        "is_im": False,
        "is_mpim": False,
        "is_private": False,
        "is_archived": place.is_archived,
        "is_member": place.has_bot,
        "is_ext_shared": False,
        "num_members": len(place.members),
        "context_team_id": world.SLACK_TEAM,
    }


def auth_test(call: Call) -> Json:
    """auth.test"""
    return {
        "ok": True,
        "url": f"{call.slack.public_url}/",
        "team": world.SLACK_TEAM_NAME,
        "user": world.BOT_NAME.lower(),
        "team_id": world.SLACK_TEAM,
        "user_id": world.SLACK_BOT_USER,
        "bot_id": world.SLACK_BOT,
        "is_enterprise_install": False,
    }


def team_info(call: Call) -> Json:
    """team.info"""
    team = {"id": world.SLACK_TEAM, "name": world.SLACK_TEAM_NAME, "domain": world.SLACK_TEAM_DOMAIN}
    return {"ok": True, "team": team}


def bots_info(call: Call) -> Json:
    """bots.info"""
    if call.text("bot", world.SLACK_BOT) != world.SLACK_BOT:
        raise SlackError("bot_not_found")
    bot = {"id": world.SLACK_BOT, "name": world.BOT_NAME, "app_id": world.SLACK_APP, "user_id": world.SLACK_BOT_USER}
    return {"ok": True, "bot": {**bot, "deleted": False}}


def users_info(call: Call) -> Json:
    """users.info"""
    person = call.store.people.get(call.text("user"))
    if person is None:
        raise SlackError("user_not_found")
    return {"ok": True, "user": user_json(person)}


def users_list(call: Call) -> Json:
    """users.list"""
    people = list(call.store.people.values())
    start, limit = cursor_of(call, len(people)), call.number("limit", 1000, 1000)
    rest = f"next:{start + limit}" if start + limit < len(people) else ""
    members = [user_json(one) for one in people[start : start + limit]]
    return {"ok": True, "members": members, "response_metadata": {"next_cursor": rest}}


def users_lookup(call: Call) -> Json:
    """users.lookupByEmail"""
    wanted = call.text("email").lower()
    for person in call.store.people.values():
        if person.email and person.email == wanted:
            return {"ok": True, "user": user_json(person)}
    raise SlackError("users_not_found")


def conversations_list(call: Call) -> Json:
    """conversations.list"""
    return _listed(call, list(call.store.places.values()))


def users_conversations(call: Call) -> Json:
    """users.conversations, of the bot itself; it leaves out what conversations.list says of members."""
    answer = _listed(call, [one for one in call.store.places.values() if one.has_bot])
    for channel in answer["channels"]:
        channel.pop("is_member", None)
        channel.pop("num_members", None)
    return answer


def _listed(call: Call, places: list[Place]) -> Json:
    types = set((call.text("types") or "public_channel").split(","))
    if unknown := types - {"public_channel", "private_channel", "mpim", "im"}:
        raise SlackError("invalid_types", [f"unknown: {', '.join(sorted(unknown))}"])
    found = [
        one
        for one in places
        if ("im" if one.person else "public_channel") in types
        and not (one.is_archived and call.flag("exclude_archived"))
    ]
    start, limit = cursor_of(call, len(found)), call.number("limit", 100, 999)
    rest = f"next:{start + limit}" if start + limit < len(found) else ""
    channels = [channel_json(one) for one in found[start : start + limit]]
    return {"ok": True, "channels": channels, "response_metadata": {"next_cursor": rest}}


def conversations_info(call: Call) -> Json:
    """conversations.info"""
    return {"ok": True, "channel": channel_json(call.place())}


def conversations_members(call: Call) -> Json:
    """conversations.members"""
    members = sorted(call.place().members)
    start, limit = cursor_of(call, len(members)), call.number("limit", 100, 1000)
    rest = f"next:{start + limit}" if start + limit < len(members) else ""
    return {"ok": True, "members": members[start : start + limit], "response_metadata": {"next_cursor": rest}}


def conversations_open(call: Call) -> Json:
    """conversations.open, for one person at a time."""
    users = [one for one in call.text("users").split(",") if one]
    if not users:
        raise SlackError("users_list_not_supplied")
    if len(users) > 1:
        raise SlackError("too_many_users")
    person = call.store.people.get(users[0])
    if person is None:
        raise SlackError("user_not_found")
    if person.id == world.SLACK_BOT_USER:
        raise SlackError("invalid_user_combination")
    return {"ok": True, "channel": {"id": call.store.direct(person).id}}


def conversations_join(call: Call) -> Json:
    """conversations.join"""
    place = call.place()
    if place.person:
        raise SlackError("method_not_supported_for_channel_type")
    if place.is_archived:
        raise SlackError("is_archived")
    place.members.add(world.SLACK_BOT_USER)
    call.slack.hub.touch()
    return {"ok": True, "channel": channel_json(place)}


def connections_open(call: Call) -> Json:
    """apps.connections.open"""
    return {"ok": True, "url": call.slack.sockets.new_url(debug=call.flag("debug_reconnects"))}


def validate(call: Call) -> Json:
    """blocks.validate: exactly one of `blocks`, `message` and `view`, judged without being shown."""
    given = {key: call.json(key, f"invalid_{key}") for key in ("blocks", "message", "view") if key in call.arguments}
    if len(given) != 1:
        raise SlackError("invalid_arguments", ["exactly one of blocks, message and view is needed"])
    [(kind, value)] = given.items()
    match kind:
        case "blocks":
            problems = rules.message_problems(value)
        case "view":
            problems = rules.view_problems(value)
        case _:
            message = value if isinstance(value, dict) else {}
            problems = rules.message_problems(message["blocks"], "/message/blocks") if message.get("blocks") else []
    if problems:
        errors = [{"pointer": one.pointer, "code": one.code, "message": one.message} for one in problems]
        raise SlackError(f"invalid_{kind}", errors=errors)
    return {"ok": True}


METHODS: dict[str, Method] = {
    "auth.test": auth_test,
    "team.info": team_info,
    "bots.info": bots_info,
    "users.info": users_info,
    "users.list": users_list,
    "users.lookupByEmail": users_lookup,
    "users.conversations": users_conversations,
    "conversations.list": conversations_list,
    "conversations.info": conversations_info,
    "conversations.members": conversations_members,
    "conversations.open": conversations_open,
    "conversations.join": conversations_join,
    "apps.connections.open": connections_open,
    "blocks.validate": validate,
}
