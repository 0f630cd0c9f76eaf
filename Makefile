# make: the main job · make test · make help: ## show this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'
	@echo "make help-developers shows the others"

help-developers: ### show the other targets
	@sed -n 's/^\([a-z-]*\):.* ### \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-20s %s\n", $$1, $$2 }'
