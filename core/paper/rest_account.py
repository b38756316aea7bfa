"""Profile, tokens, static IP, kill switch and P&L exit over REST, and the auth host (dhan_v2_protocol 1, 5.17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from core.model.session_time import NS_PER_S, ist_datetime
from core.paper.auth import totp_at
from core.paper.orders import BadRequestError
from core.paper.rate_limits import RateClass
from core.paper.rest_gate import Call, Gate, Handler, Surface, refusal

if TYPE_CHECKING:
    from core.paper.venue import Venue

DIGITS = 6


class RestAccount:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._account = venue.account

    def add_routes(self, router: web.UrlDispatcher, gate: Gate) -> None:
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/v2/profile", self.profile),
            ("GET", "/v2/RenewToken", self.renew),
            ("GET", "/v2/ip/getIP", self.ip_state),
            ("GET", "/v2/killswitch", self.kill_switch),
            ("POST", "/v2/killswitch", self.set_kill_switch),
            ("GET", "/v2/pnlExit", self.pnl_exit),
            ("POST", "/v2/pnlExit", self.set_pnl_exit),
            ("DELETE", "/v2/pnlExit", self.clear_pnl_exit),
        )
        for method, path, handler in routes:
            router.add_route(method, path, gate.door(handler, Surface.TRADING, RateClass.NON_TRADING))
        router.add_post("/v2/RenewToken", self._renew_by_post)
        minting = gate.door(self.generate_token, Surface.AUTH, RateClass.FREE)
        router.add_post("/auth/app/generateAccessToken", minting)

    def profile(self, _call: Call) -> web.Response:
        expires = ist_datetime(self._venue.tokens.expiry_s() * NS_PER_S)
        options = self._venue.options
        return web.json_response(
            {
                "dhanClientId": self._account.client_id,
                "tokenValidity": f"{expires:%d/%m/%Y %H:%M}",
                "activeSegment": "E, D, C, M, ",
                "ddpi": "Active",
                "mtf": "Deactive",
                "dataPlan": "Active" if options.data_plan_active else "Deactive",
                "dataValidity": f"{expires:%Y-%m-%d} 09:37:52.0",
            }
        )

    def renew(self, _call: Call) -> web.Response:
        self._venue.tokens.renew()
        self._venue.log.add("token_renewed")
        return web.json_response(self._venue.tokens.token_object())

    async def _renew_by_post(self, _request: web.Request) -> web.Response:
        return refusal("DH-905", "Missing required fields, bad values for parameters etc.", 400)

    def generate_token(self, call: Call) -> web.Response:
        """PIN and TOTP in the query, no body. Any six digits pass unless the options name a PIN or a TOTP secret."""
        query, options = call.request.query, self._venue.options
        pin, totp = query.get("pin", ""), query.get("totp", "")
        now_s = self._venue.clock.utc_s()
        codes = {totp_at(options.totp_secret, now_s + d) for d in (-30, 0, 30)} if options.totp_secret else {totp}
        is_good = (
            query.get("dhanClientId") == self._account.client_id
            and len(pin) == len(totp) == DIGITS
            and (pin + totp).isdigit()
            and (options.pin is None or pin == options.pin)
            and totp in codes
        )
        self._venue.log.add("token_asked", granted=is_good)
        if not is_good:
            return web.json_response({"status": "error", "message": "Invalid Pin or TOTP"}, status=400)
        self._venue.tokens.renew()
        return web.json_response(self._venue.tokens.token_object())

    def ip_state(self, _call: Call) -> web.Response:
        is_allowed = self._venue.options.static_ip_matches
        address = "203.0.113.10"
        return web.json_response(
            {
                "primaryIP": address,
                "modifyDatePrimary": "2026-11-27",
                "secondaryIP": "203.0.113.11",
                "modifyDateSecondary": "2026-11-25",
                "ip": address if is_allowed else "198.51.100.7",
                "detectedIP": address if is_allowed else "198.51.100.7",
                "ipMatchStatus": "PRIMARY_MATCH" if is_allowed else "NO_MATCH",
                "ordersAllowed": is_allowed,
            }
        )

    def kill_switch(self, _call: Call) -> web.Response:
        word = "ACTIVATE" if self._account.kill_switch else "DEACTIVATE"
        return web.json_response({"dhanClientId": self._account.client_id, "killSwitchStatus": word})

    def set_kill_switch(self, call: Call) -> web.Response:
        wanted = call.request.query.get("killSwitchStatus")
        if wanted not in {"ACTIVATE", "DEACTIVATE"}:
            raise BadRequestError
        is_open = any(held.net for held in self._account.positions.values())
        is_live = any(order.is_live for order in self._account.orders.values())
        if wanted == "ACTIVATE" and (is_open or is_live):
            raise BadRequestError("Close all positions and pending orders first", "DH-906")
        self._account.kill_switch = wanted == "ACTIVATE"
        text = f"Kill Switch has been successfully {wanted.lower()}d"
        return web.json_response({"dhanClientId": self._account.client_id, "killSwitchStatus": text})

    def pnl_exit(self, _call: Call) -> web.Response:
        rule = self._account.profit_and_loss_exit
        if rule is None:
            return web.json_response({"pnlExitStatus": "DISABLED"})
        return web.json_response(
            {
                "pnlExitStatus": "ACTIVE",
                "profit": f"{float(str(rule.get('profitValue', 0))):.2f}",
                "loss": f"{float(str(rule.get('lossValue', 0))):.2f}",
                "productType": rule.get("productType", []),
                "enable_kill_switch": rule.get("enableKillSwitch", False),
            }
        )

    def set_pnl_exit(self, call: Call) -> web.Response:
        """Stored and shown; the exchange does not act on it."""
        self._account.profit_and_loss_exit = dict(call.body)
        text = "P&L based exit configured successfully"
        return web.json_response({"pnlExitStatus": "ACTIVE", "message": text})

    def clear_pnl_exit(self, _call: Call) -> web.Response:
        self._account.profit_and_loss_exit = None
        return web.json_response({"pnlExitStatus": "DISABLED", "message": "P&L based exit removed successfully"})
