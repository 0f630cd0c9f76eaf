# Regressions of a table of outcomes and lags by clubSandwich, with 17 digits.
# Usage: Rscript clubsandwich.R DESIGN.csv RESULTS.csv
#
# Columns of the design: layer, document, group, class, half, y, lag_1, lag_2.
suppressPackageStartupMessages({
  library(clubSandwich)
  library(plm)
})
arguments <- commandArgs(trailingOnly = TRUE)
design <- read.csv(arguments[1], stringsAsFactors = TRUE)
results <- data.frame()

add <- function(layer, fit, term, values) {
  row <- data.frame(layer = layer, fit = fit, term = term,
                    estimate = NA, std_error = NA, df = NA, p_value = NA, f = NA, df_residual = NA)
  row[names(values)] <- values
  results <<- rbind(results, row)
}

coefficients <- function(layer, fit, model, cluster) {
  table <- coef_test(model, vcov = "CR2", cluster = cluster, test = "Satterthwaite")
  for (term in c("lag_1", "lag_2")) {
    row <- table[table$Coef == term, ]
    add(layer, fit, term, list(estimate = row$beta, std_error = row$SE, df = row$df_Satt,
                               p_value = row$p_Satt))
  }
}

wald <- function(layer, fit, term, model, constraints, cluster) {
  test <- Wald_test(model, constraints = constraints, vcov = "CR2", cluster = cluster,
                    test = "HTZ")
  add(layer, fit, term, list(f = test$Fstat, df = test$df_num, df_residual = test$df_denom,
                             p_value = test$p_val))
}

# Rows that set each coefficient of a term against that of the first class.
equal <- function(model, pattern) {
  names <- names(coef(model))
  places <- grep(pattern, names)
  t(sapply(places[-1], function(place) {
    row <- numeric(length(names))
    row[c(places[1], place)] <- c(1, -1)
    row
  }))
}

for (layer in unique(design$layer)) {
  rows <- design[design$layer == layer, ]
  pooled <- lm(y ~ lag_1 + lag_2, rows)
  coefficients(layer, "pooled", pooled, rows$document)
  coefficients(layer, "by group", pooled, rows$group)
  rows$row <- ave(rows$y, rows$document, FUN = seq_along)
  within <- plm(y ~ lag_1 + lag_2, rows, index = c("document", "row"), model = "within")
  coefficients(layer, "within", within, rows$document)
  classes <- lm(y ~ 0 + class + class:lag_1 + class:lag_2, rows)
  for (term in c("lag_1", "lag_2"))
    wald(layer, "equal slopes", term, classes, equal(classes, term), rows$document)
  # Each half of a document has a level of its own, which is taken out first.
  rows$half <- factor(rows$half)
  for (name in c("y", "lag_1", "lag_2"))
    rows[[name]] <- rows[[name]] - ave(rows[[name]], rows$document, rows$half)
  halves <- lm(y ~ 0 + half:lag_1 + half:lag_2, rows)
  constraints <- rbind(equal(halves, "lag_1"), equal(halves, "lag_2"))
  wald(layer, "equal halves", "lags", halves, constraints, rows$document)
}
numbers <- sapply(results, is.numeric)
results[numbers] <- lapply(results[numbers], function(x) ifelse(is.na(x), "", sprintf("%.17g", x)))
write.csv(results, arguments[2], row.names = FALSE, quote = FALSE)
