"""application: what a person does, each one function or small class; both doors call these.

The command line and the page parse, call and show; what they have in common is here, without click
and without starlette. Environment, clock and home folder come in as arguments.
"""
