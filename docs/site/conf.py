"""Sphinx settings of the HTML book; ``workbook.tools.site`` copies them beside the pages that it prepares."""

project = "Generative Models Workbook"
author = "the workbook's authors"
language = "en"

extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinx_design"]
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 5  # links to headings, as on code hosts
myst_dmath_double_inline = True
suppress_warnings = ["misc.highlighting_failure", "myst.header"]

# the book makes no request to anywhere: MathJax lies beside it, and search shows no summaries, which are fetched
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}
html_show_search_summary = False

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # there is a search button in the sidebar
}

numfig = True
numfig_secnum_depth = 0
