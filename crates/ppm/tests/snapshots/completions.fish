complete --keep-order --exclusive --command ppm --arguments "(COMPLETE=fish ppm -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
