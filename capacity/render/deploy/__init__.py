"""What other tools run of a plan: one file here for each target, which the registry finds by itself.

A target is a module of this folder with five names:

`NAME`: what `--target` calls it.
`FILE`: the file that is written for it into a folder.
`PLANS`: what it can run, `capacity.render.deploy.fleet.Fleet`, a `SavedLlmPlan`, or
`capacity.render.deploy.clients.SafeClients` of either.
`COVERS`: which features of a plan the file sets, which its own notes speak of, and which the target cannot have; the
    header says of all others where they must be set (`features`).
`render(plan) -> str`: the text. It starts with the comment of `header`, needs no edit but names, and says no
    number that is not the plan's, or derived by a documented function.

Modules that are no target hold what several of them need: `fleet`, `recovery`, `clients`, `features`, `header` and
`scaling`.
"""
