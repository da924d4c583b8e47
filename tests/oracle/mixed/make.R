# Writes the data sets and expected.csv of this folder: Rscript make.R (Debian 12: r-base-core r-cran-lme4
# r-cran-nlme). The package of record is lme4; nlme is the check printed at the end.
suppressMessages({library(lme4); library(nlme)})
RNGkind("Mersenne-Twister", "Inversion", "Rejection")

# Data sets --------------------------------------------------------------------------------------------------
set.seed(20260521)
sizes <- c(1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
group <- rep(seq_along(sizes), sizes)
n <- length(group)
unbalanced <- data.frame(group = group, x1 = round(rnorm(n), 3), x2 = round(runif(n), 3))
unbalanced$y <- round(2 + unbalanced$x1 - 3 * unbalanced$x2 + 0.8 * rnorm(15)[group] + rnorm(n), 4)

genotypes <- matrix(rbinom(80 * 30, 2, rep(runif(30, 0.1, 0.5), each = 80)), 80)  # markers 0, 1, 2
markers <- data.frame(genotypes, x = round(rnorm(80), 3))
names(markers)[1:30] <- paste0("m", 1:30)
markers$y <- round(as.vector(scale(genotypes, scale = FALSE) %*% rnorm(30) * 0.25) + 0.5 * markers$x + rnorm(80), 4)

cases <- list(
  dyestuff = list(data = data.frame(group = as.integer(Dyestuff$Batch), y = Dyestuff$Yield), fixed = character()),
  dyestuff2 = list(data = data.frame(group = as.integer(Dyestuff2$Batch), y = Dyestuff2$Yield), fixed = character()),
  sleepstudy = list(data = data.frame(group = as.integer(sleepstudy$Subject), days = sleepstudy$Days,
                                      y = sleepstudy$Reaction), fixed = "days"),
  unbalanced = list(data = unbalanced, fixed = c("x1", "x2")),
  markers = list(data = markers, fixed = "x"))

# lme4's REML deviance of y = X b + Z u + e as a function of theta = sd(u)/sd(e), for any Z: its own modular
# steps, with the rows of Zt put in place of those of a grouping factor with as many levels.
deviance_function <- function(y, X, Z) {
  dummy <- factor(rep_len(seq_len(ncol(Z)), length(y)))
  control <- lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore",
                         check.nlev.gtr.1 = "ignore", check.rankX = "ignore")
  parsed <- lFormula(y ~ 0 + X + (1 | dummy), REML = TRUE, control = control)
  parsed$reTrms$Zt <- Matrix::drop0(as(t(Z), "dgCMatrix"))
  do.call(mkLmerDevfun, c(parsed, list(control = control)))
}

# The deviance is flat at its minimum, where 16 digits of it give 8 of theta at best: the root of its
# derivative instead, by the five-point formula.
minimiser <- function(deviance) {
  slope <- function(theta, h = 3e-3 * theta)
    (deviance(theta - 2 * h) - 8 * deviance(theta - h) + 8 * deviance(theta + h) - deviance(theta + 2 * h)) / (12 * h)
  start <- optimize(deviance, c(0, 20))$minimum
  if (deviance(0) <= deviance(start)) return(0)
  uniroot(slope, c(0.8, 1.25) * start, tol = 1e-13)$root
}

expected <- data.frame()
for (name in names(cases)) {
  data <- cases[[name]]$data
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  X <- cbind(1, as.matrix(data[cases[[name]]$fixed]))
  Z <- if (name == "markers") as.matrix(data[paste0("m", 1:30)]) else model.matrix(~ 0 + factor(group), data)
  dimnames(X) <- dimnames(Z) <- NULL
  deviance <- deviance_function(data$y, X, Z)
  theta <- minimiser(deviance)
  at_minimum <- deviance(theta)
  state <- environment(deviance)
  s2_e <- (state$resp$wrss() + state$pp$sqrL(1)) / (nrow(X) - ncol(X))
  beta <- state$pp$beta(1)
  u <- state$pp$b(1)
  add <- function(quantity, values)
    expected <<- rbind(expected, data.frame(case = name, quantity = quantity, index = seq_along(values) - 1,
                                            value = sprintf("%.15g", values)))
  add("s2_e", s2_e)
  add("s2_u", theta^2 * s2_e)
  add("beta", beta)
  add("u", u)
  add("minus_two_restricted_log_likelihood", at_minimum)
  add("theta", c(0, 0.25, 0.5, 1, 2))
  add("minus_two_restricted_log_likelihood_at_theta", sapply(c(0, 0.25, 0.5, 1, 2), deviance))
  # The check: nlme, with an optimiser of its own.
  data$all <- factor(1)
  fixed <- reformulate(c("1", cases[[name]]$fixed), "y")
  other <- tryCatch(
    if (name == "markers") lme(fixed, data, random = list(all = pdIdent(~ 0 + Z)), control = lmeControl(msTol = 1e-14, tolerance = 1e-12))
    else lme(fixed, data, random = ~ 1 | group, control = lmeControl(msTol = 1e-14, tolerance = 1e-12)),
    error = function(e) NULL)
  if (!is.null(other)) {
    s2_u_nlme <- if (name == "markers") diag(as.matrix(other$modelStruct$reStruct[[1]]))[1] * other$sigma^2
                 else as.numeric(VarCorr(other)[1, 1])
    cat(sprintf("%-11s s2_e %.10g (nlme %.10g)  s2_u %.10g (nlme %.10g)  -2l %.10g (nlme %.10g)\n", name, s2_e,
                other$sigma^2, theta^2 * s2_e, s2_u_nlme, at_minimum, -2 * other$logLik))
  }
}
write.csv(expected, "expected.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "; lme4", as.character(packageVersion("lme4")), "; nlme", as.character(packageVersion("nlme")), "\n")
