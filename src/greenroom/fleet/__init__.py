"""The fleet: agents, tasks, actions, machines, swarms and health, projected from the log; and the OpenOrca view."""

from __future__ import annotations

from greenroom.fleet._calls import Pricing
from greenroom.fleet._health import Outside
from greenroom.fleet._live import Changes, Fleet, FleetChanged
from greenroom.fleet._openorca_feed import OpenOrcaFeed
from greenroom.fleet._pools import PoolBook, PoolGoneError, Pools, PoolView, UnknownPoolError, Verb
from greenroom.fleet._routes import openorca_routes, routes
from greenroom.fleet._shapes import (
    FleetAction,
    FleetAgent,
    FleetHealth,
    FleetMachine,
    FleetSwarm,
    FleetTask,
    FleetView,
    Reason,
)
from greenroom.fleet._state import FleetState, Stated, Used
from greenroom.fleet._step import step
from greenroom.fleet._view import prune, view

__all__ = [
    "Changes",
    "Fleet",
    "FleetAction",
    "FleetAgent",
    "FleetChanged",
    "FleetHealth",
    "FleetMachine",
    "FleetState",
    "FleetSwarm",
    "FleetTask",
    "FleetView",
    "OpenOrcaFeed",
    "Outside",
    "PoolBook",
    "PoolGoneError",
    "PoolView",
    "Pools",
    "Pricing",
    "Reason",
    "Stated",
    "UnknownPoolError",
    "Used",
    "Verb",
    "openorca_routes",
    "prune",
    "routes",
    "step",
    "view",
]
