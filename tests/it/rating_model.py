"""What tariffs cost, worked out apart from the program: reads cases from standard input, writes lines and totals.

A case is {"tariff": TOML, "usage": [row], "series": [[class, [[in, out], ...]]], "share": [n, d]}. It follows
docs/TARIFFS.md, with fractions.Fraction for every number and sorted lists for percentiles.
"""

import fnmatch
import json
import math
import sys
import tomllib
from fractions import Fraction as F

UNITS = {"GB": 10**9, "GiB": 2**30, "TB": 10**12, "TiB": 2**40}
EXPONENT = {"EUR": 2, "JPY": 0, "KWD": 3}
ONE_SIDED = {"0.90": 12815516, "0.95": 16448536, "0.99": 23263479}


def half_up(x):
    sign = -1 if x < 0 else 1
    return sign * math.floor(abs(x) + F(1, 2))


def listed(value):
    return value if isinstance(value, list) else [value]


def matches(match, row):
    for key, wanted in match.items():
        if not any(fnmatch.fnmatchcase(row[key], pattern) for pattern in listed(wanted)):
            return False
    return True


class Case:
    def __init__(self, case):
        self.tariff = tomllib.loads(case["tariff"])
        self.rows = case["usage"]
        self.series = case["series"]
        self.share = F(*case["share"])
        self.unit = UNITS[self.tariff["tariff"]["unit"]]
        self.minor = 10 ** EXPONENT[self.tariff["tariff"]["currency"]]
        self.classes = self.tariff["class"]
        self.bands = [band["name"] for band in self.tariff.get("band", [])] or [""]
        self.lines = []

    def line(self, charge, quantity, price):
        self.lines.append([charge, F(quantity), F(price), half_up(F(quantity) * F(price) * self.minor)])

    def sum(self, charges=None):
        return sum(line[3] for line in self.lines if charges is None or line[0] in charges)

    def class_of(self, row):
        return next(one["name"] for one in self.classes if matches(one["match"], row))

    def is_exempt(self, charge, row):
        for exempt in self.tariff.get("exempt", []):
            if charge in listed(exempt.get("charge", charge)) and matches(exempt["match"], row):
                return True
        return False

    def volume(self, charge):
        id = charge["id"]
        wanted = listed(charge["class"])
        bands = listed(charge.get("band", self.bands))
        rows = [
            row
            for row in self.rows
            if self.class_of(row) in wanted
            and row["direction"] in ("in", "out")
            and self.bands[row["band"]] in bands
            and not self.is_exempt(id, row)
        ]
        direction = charge["direction"]
        if direction == "max":
            both = [[row for row in rows if row["direction"] == one] for one in ("in", "out")]
            total = [sum(F(row["octets"] * row["n"], row["d"]) for row in one) for one in both]
            rows = both[1] if total[1] > total[0] else both[0]
        elif direction != "sum":
            rows = [row for row in rows if row["direction"] == direction]

        by_band = {band: F(0) for band in self.bands}
        variance, is_sampled = 0, False
        for row in rows:
            n, d = row["n"], row["d"]
            by_band[self.bands[row["band"]]] += F(row["octets"] * n, d)
            variance += math.ceil(F(n * (n - d) * row["squares"], d * d))
            is_sampled |= n != d and row["octets"] > 0
        estimate = billed = sum(by_band.values())
        sampled = charge.get("sampled", {})
        if is_sampled:
            if sampled.get("basis") == "lower":
                z = ONE_SIDED[sampled.get("confidence", "0.95")]
                # The least whole number of octets that is not below z standard errors.
                square = F(z * z * variance, 10**14)
                root = math.isqrt(math.floor(square))
                root += root * root < square
                sure = sum(F(row["octets"] * row["n"], row["d"]) for row in rows if row["n"] == row["d"])
                billed = max(sure, estimate - root)
            by_band = {band: octets * billed / estimate for band, octets in by_band.items()}
        left = {band: octets / self.unit for band, octets in by_band.items()}

        prices = charge.get("tiers", {}).get("rows") or [{"price": charge["price"]}]
        if "insensitive_below" in sampled:
            first = prices[0]["price"]
            cheapest = min(bands, key=lambda band: F(first[band] if isinstance(first, dict) else first))
            left[cheapest] += max(F(0), F(sampled["insensitive_below"]) * self.share - billed / self.unit)
        is_by_band = any(isinstance(row.get("price"), dict) for row in prices)
        mode = charge.get("tiers", {}).get("mode", "flat")
        first = len(self.lines)
        if "allowance" in charge:
            free = F(charge["allowance"]["quantity"]) * self.share
            spent_all = F(0)
            for band in charge["allowance"].get("spend_order", bands):
                spent = min(free, left[band])
                free -= spent
                left[band] -= spent
                spent_all += spent
                if is_by_band and spent > 0:
                    self.line(id, spent, 0)
            if not is_by_band:
                self.line(id, spent_all, 0)
        self.tiers(id, left, prices, mode, is_by_band, bands)
        if "cap" in charge:
            over = sum(line[3] for line in self.lines[first:]) - half_up(F(charge["cap"]) * self.share * self.minor)
            if over > 0:
                self.line(id, -1, F(over, self.minor))

    def tiers(self, id, left, prices, mode, is_by_band, bands):
        total = sum(left.values())
        ends = [F(row["up_to"]) * self.share if "up_to" in row else None for row in prices]
        slices = []
        for at, row in enumerate(prices):
            begin = ends[at - 1] if at else F(0)
            if mode == "volume":
                if ends[at] is None or total <= ends[at]:
                    slices = [(row, total)]
                    break
                continue
            inside = max(F(0), (total if ends[at] is None else min(total, ends[at])) - begin)
            if at == 0 or inside > 0:
                slices.append((row, inside))

        def price_of(row, band):
            price = row.get("price", "0")
            return F(price[band] if isinstance(price, dict) else price)

        count = len(self.lines)
        if is_by_band:
            for band in self.bands:
                for row, inside in slices:
                    if left[band] > 0 and inside > 0:
                        self.line(id, inside * left[band] / total, price_of(row, band))
            if len(self.lines) == count:
                self.line(id, 0, price_of(slices[0][0], bands[0]))
        else:
            for row, inside in slices:
                if mode == "package":
                    inside = math.ceil(inside / F(row["block"]))
                self.line(id, inside, price_of(row, None))
        for row, _ in slices:
            if "fee" in row:
                self.line(id, self.share, row["fee"])

    def percentile(self, charge):
        wanted = listed(charge["class"])
        names = [one["name"] for one in self.classes]
        chosen = [samples for at, samples in self.series if names[at] in wanted]
        zero = charge["missing"] == "zero"

        def value(series):
            sums = []
            for bucket in zip(*series):
                pair = []
                for way in (0, 1):
                    known = [0 if one[way] is None and zero else one[way] for one in bucket]
                    pair.append(None if None in known else sum(known))
                sums.append(pair)
            ins = [pair[0] for pair in sums if pair[0] is not None]
            outs = [pair[1] for pair in sums if pair[1] is not None]
            both = [pair for pair in sums if None not in pair]
            rank = lambda values: sorted(values)[self.rank(charge, len(values)) - 1]
            return {
                "in": lambda: rank(ins),
                "out": lambda: rank(outs),
                "max-of-p95": lambda: max(rank(ins), rank(outs)),
                "sum-of-p95": lambda: rank(ins) + rank(outs),
                "p95-of-max": lambda: rank([max(pair) for pair in both]),
                "p95-of-sum": lambda: rank([sum(pair) for pair in both]),
                "pooled": lambda: rank(ins + outs),
            }[charge["combine"]]()

        if charge.get("links") == "rank-then-sum":
            octets = sum(value([one]) for one in chosen)
        else:
            octets = value(chosen)
        rate = F(octets * 8, 300 * 10**6)
        if "commit" in charge:
            committed = F(charge["commit"]["quantity"])
            self.line(charge["id"], committed * self.share, charge["commit"]["price"])
            if rate > committed:
                self.line(charge["id"], (rate - committed) * self.share, charge["overage"]["price"])
        else:
            self.line(charge["id"], rate * self.share, charge["price"])

    @staticmethod
    def rank(charge, n):
        p = F(charge.get("percentile", "95")) / 100
        return {
            "nearest": max(1, n - math.floor(n * (1 - p))),
            "cacti": max(1, math.floor(n * p)),
            "rrdtool": half_up(p * (n - 1)) + 1,
        }[charge["rank"]]

    def rate(self):
        for charge in self.tariff["charge"]:
            if charge["kind"] == "volume":
                self.volume(charge)
            elif charge["kind"] == "percentile":
                self.percentile(charge)
            else:
                self.line(charge["id"], F(charge.get("quantity", "1")) * self.share, charge["amount"])
        before = {one["id"]: self.sum([one["id"]]) for one in self.tariff["charge"]}
        left = dict(before)
        for discount in self.tariff.get("discount", []):
            on = sorted(listed(discount.get("on", list(before))))
            base = sum(before[id] for id in on)
            if "percent" in discount:
                off = half_up(F(base) * F(discount["percent"]) / 100)
            else:
                off = half_up(F(discount["amount"]) * self.share * self.minor)
            off = min(off, sum(left[id] for id in on))
            # Each charge in turn gives its share of what the charges from it on still have to give.
            rest = off
            for at, id in enumerate(on):
                have = sum(left[other] for other in on[at:])
                own = math.floor(F(rest * left[id], have)) if have else 0
                left[id] -= own
                rest -= own
            assert rest == 0 and min(left.values()) >= 0
            if off > 0:
                self.line(discount["id"], -1, F(off, self.minor))
        if "minimum" in self.tariff:
            minimum = self.tariff["minimum"]
            least = half_up(F(minimum["amount"]) * self.share * self.minor)
            missing = least - self.sum(listed(minimum["on"]) if "on" in minimum else None)
            if missing > 0:
                self.line("minimum", 1, F(missing, self.minor))
        net = self.sum()
        tax = half_up(F(net) * F(self.tariff["tax"]["percent"]) / 100)
        lines = [[id, half_up(quantity * 10**9), half_up(price * 10**9), amount] for id, quantity, price, amount in self.lines]
        return {"lines": lines, "net": net, "tax": tax, "gross": net + tax}


json.dump([Case(case).rate() for case in json.load(sys.stdin)], sys.stdout)
