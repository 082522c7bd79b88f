"""Safe work on files in directories that somebody else can write.

A container, a build or an archive may change such a directory at any moment: put a link where a
directory was, swap two names, nest a million levels. So nothing here is done by path. A directory
is an open descriptor, what is in it is a name without a slash, no link is ever followed, and no
walk recurses. The rooms above use these modules for all they do in roots, volumes, cache mounts
and contexts.

``opening``   open below a root or in a directory
``making``    directories, files, links and nodes with owner, mode, times and attributes
``descent``   walk down and up a tree of any depth with few descriptors
``removing``  remove, or set aside and then remove
``measuring`` how much a tree holds
``copying``   copy a tree
``placing``   make something where nobody sees it, then put it in place
"""
