"""What the explain stage writes, in small, with one label wherever a user's word may stand."""

from typing import Any


def figure(value: float) -> dict[str, float]:
    """An estimate between ends."""
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def quality(label: str) -> dict[str, Any]:
    """A good method and one that is no better than random."""
    good = {
        "method": "integrated_gradients", "default": True, "people": 200,
        "completeness": {"p50": 1e-8, "p95": 1e-7},
        "infidelity": figure(0.1), "infidelity_random": figure(1.1),
        "max_sensitivity": figure(0.2), "insertion": figure(0.8), "insertion_random": figure(0.5),
        "insertion_gain": figure(0.3), "deletion": figure(0.2), "deletion_random": figure(0.5),
        "deletion_gain": figure(0.3), "randomised": figure(0.0), "verdict": "pass", "reason": "",
        "better_than_random": True,
    }  # fmt: skip
    bad = {
        **good, "method": "gradient_shap", "default": False, "verdict": "fail",
        "reason": f"Its insertion gains nothing on {label}.", "better_than_random": False,
        "completeness": None, "max_sensitivity": None,
    }  # fmt: skip
    both = {"first": "integrated_gradients", "second": "gradient_shap",
            "rank_correlation": figure(0.9), "top_k": 3, "top_k_overlap": figure(0.8),
            "top_k_by_chance": figure(0.4)}  # fmt: skip
    return {"people": 200, "methods": [good, bad], "agreement": [both]}


def groups(label: str, exact: float | None = None) -> dict[str, Any]:
    """Shares by one sensitive feature; `exact` stands in internal files alone."""
    cell = {"share": figure(0.6), "difference": figure(0.07), "p": 0.002}
    small = {"label": "few", "n": 3, "shares": [{**cell, "share": figure(exact or 0)}, None]}
    shown = [
        {"label": name, "shares": [cell, {**cell, "difference": figure(-0.02), "p": 0.4}]}
        for name in (label, "men")
    ]
    return {
        "features": [label, "character “<”"], "people": 2000, "permutations": 2000,
        "confidence": 0.95,
        "sensitive": [{"name": label, "groups": shown if exact is None else [*shown, small],
                       "withheld": exact is None}],
    }  # fmt: skip


def proxies(label: str, exact: float | None = None) -> dict[str, Any]:
    """A probe that finds something, and what happens without its carrier."""
    changed = {"label": "men", "factor": figure(1.1)}
    if exact is not None:
        changed |= {"before": figure(exact), "after": figure(0.9)}
    return {
        "people": 2000, "confidence": 0.95, "shuffles": 9, "decided": True,
        "sensitive": [{
            "name": label, "withheld": True,
            "probe": [{"label": label, "auc": figure(0.65), "shuffled": figure(0.5)}],
            "carriers": [{"feature": label, "kind": "sequence", "drop": 0.1}],
            "ablations": [{
                "chosen_by": ["probe", "attributions"], "features": [label], "reference": label,
                "probe": [{"label": label, "auc": figure(0.55)}], "auc_change": figure(-0.02),
                "groups": [changed],
            }],
        }],
    }  # fmt: skip


def reasons(label: str, exact: float | None = None) -> dict[str, Any]:
    """Two reasons, and how often they come out again."""
    share = figure(0.5 if exact is None else exact)
    found = {
        "most": 4, "wanted": 0.75, "confidence": 0.95, "min_people": 30,
        "other_method": "window_occlusion", "stable": share,
        "ways": {"method": {"found_again": 0.9, "first_again": 0.8},
                 "change": {"found_again": 0.99, "first_again": 0.97}},
        "reasons": [{"feature": label, "kind": "sequence", "principal": share,
                     "first": figure(0.4)},
                    {"feature": "bill", "kind": "static", "principal": figure(0.3),
                     "first": None}],
        "groups": {"features": [label, "bill"], "sensitive": [
            {"name": label, "withheld": True,
             "groups": [{"label": label, "reasons": [share, None], "stable": share}]}]},
    }  # fmt: skip
    return found if exact is None else {**found, "explained": 1152, "unfavourable": 1152}


def attributions(label: str) -> dict[str, Any]:
    """attributions.json."""
    return {
        "method": "integrated_gradients", "rule": "gausslegendre", "n_steps": 20, "people": 2000,
        "min_people": 30, "confidence": 0.95,
        "completeness": {"p50": 1e-8, "p95": 1e-7, "bar": 0.001, "reached": True, "reason": ""},
        "explained": f"log-odds of {label}", "unit": "log-odds", "step_axis": "step",
        "by_feature": [{"feature": label, "kind": "sequence", **figure(1.5)},
                       {"feature": "bill", "kind": "sequence", **figure(0.5)}],
        "by_step": [{"step": label, **figure(1.2)}, {"step": "June", **figure(0.8)}],
        "sequence_features": [label, "bill"], "by_feature_and_step": [[0.9, 0.6], [0.3, None]],
        "quality": quality(label), "groups": groups(label), "proxies": proxies(label),
        "reasons": reasons(label),
    }  # fmt: skip


def local(marker: str, label: str) -> dict[str, Any]:
    """people.json: one person of numbers and one of text; `marker` stands in no other file."""
    both = {"outcome": marker, "predicted": "pays", "score": 0.5, "output": 1.0,
            "baseline_output": 0.0, "completeness_error": 0.0, "static": []}  # fmt: skip
    feature = {"feature": label, "unit": label, "values": [marker], "attributions": [-0.5]}
    text = [{"text": "<", "attribution": 0.5}, {"text": marker, "attribution": 0.1}]
    text += [{"text": label, "attribution": -0.2}]
    flow = {"steps": [-1, 0], "people": 2, "longest": 1, "cells": {f"{label} (gru)": [-1.0, 0.0]},
            "gains": {"recurrent weights × 3": [2.0, 0.0]}}  # fmt: skip
    return {
        "explained": "log-odds",
        "people": [
            {**both, "id": "person 1", "rule": marker, "steps": [label], "features": [feature],
             "static": [{**feature, "values": [label]}]},
            {**both, "id": "person 2", "rule": label, "steps": [], "characters": text,
             "static": [{**feature, "values": [label]}]},
        ],
        "groups": groups(label, 0.123456),
        "proxies": proxies(label, 0.123456),
        "reasons": reasons(label, 0.123456),
        "gradient_flow": flow,
    }  # fmt: skip
