"""Status page: the snapshot as HTML, rendered on the server without a build step or external resources.

query     what a request asks to see
headline  urgency, label and explanation of each state, and the summary of all targets
listing   the targets that a request asks for, the most urgent first
folding   long plans in folds, and short differences
timeline  drift over time, as a chart and as a table
bars      passes over time, and how many of them failed
words     formats of numbers and times
render    from the snapshot to HTML
assets    style sheet, script and icons
events    tells open pages to reload
paths     the page's paths

The page is whole without its script. The script only fetches the page again when there is news, and changes what differs.
"""
