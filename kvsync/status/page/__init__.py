"""Status page: the board as HTML, rendered on the server without a build step or external resources.

query     what a request asks to see
standing  what a state means to a person: how urgent it is, and the headline
listing   the targets that a request asks for, those that need a person first
timeline  drift over time, as a drawing and as a table
words     numbers and moments for people
render    from the board to HTML
assets    style sheet, script and icons
events    news for pages that are open
paths     the page's paths

The page is whole without its script. The script only fetches the page again when there is news, and changes what differs.
"""
