# Writes null.csv: the null distribution of the restricted likelihood-ratio statistic of s2_u = 0 for the data
# sets of make.R, and for the H of ../simple with an intercept, by RLRsim's RLRTSim. Rscript null.R (Debian 12:
# r-base-core r-cran-rlrsim), after make.R. Takes minutes.
suppressMessages(library(RLRsim))

read_square <- function(file) {  # NPY of float64, n x n, symmetric
  bytes <- readBin(file, "raw", file.size(file))
  header <- 10 + as.integer(bytes[9]) + 256L * as.integer(bytes[10])
  values <- readBin(bytes[-seq_len(header)], "double", length(bytes) / 8, endian = "little")
  matrix(values, sqrt(length(values)))
}

expected <- read.csv("expected.csv")
observed_of <- function(name) {
  of <- function(quantity) expected$value[expected$case == name & expected$quantity == quantity]
  max(0, of("minus_two_restricted_log_likelihood_at_theta")[1] - of("minus_two_restricted_log_likelihood"))
}

fixed <- list(dyestuff = character(), sleepstudy = "days", unbalanced = c("x1", "x2"),
              markers = "x", simple = character())
levels <- c(0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
rows <- data.frame()
for (name in names(fixed)) {
  if (name == "simple") {
    eigen <- eigen(read_square("../simple/H.npy"), symmetric = TRUE)
    Z <- eigen$vectors %*% diag(sqrt(pmax(eigen$values, 0)))
    X <- matrix(1, nrow(Z), 1)
  } else {
    data <- read.csv(paste0(name, ".csv"))
    Z <- if (name == "markers") as.matrix(data[paste0("m", 1:30)]) else model.matrix(~ 0 + factor(group), data)
    X <- cbind(1, as.matrix(data[fixed[[name]]]))
  }
  dimnames(X) <- dimnames(Z) <- NULL
  draws <- 1e6
  drawn <- RLRTSim(X, Z, qrX = qr(X), sqrt.Sigma = diag(ncol(Z)), seed = 20260521, nsim = draws,
                   log.grid.lo = -12, log.grid.hi = 8, gridlength = 500)
  add <- function(quantity, at, value)
    rows <<- rbind(rows, data.frame(case = name, draws = sprintf("%.0f", draws), quantity = quantity,
                                    at = sprintf("%.12g", at), value = sprintf("%.12g", value)))
  for (level in levels) {
    at <- round(unname(quantile(drawn, level, type = 1)), 4)
    if (at > 0) add("tail_probability", at, mean(drawn > at))
  }
  add("tail_probability", 1e-3, mean(drawn > 1e-3))
  if (name != "simple") add("observed_p_value", observed_of(name), mean(drawn >= observed_of(name)))
  cat(name, dim(Z), "P(0)", mean(drawn == 0), "P(< 1e-3)", mean(drawn < 1e-3), "\n")
}
write.csv(rows, "null.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "; RLRsim", as.character(packageVersion("RLRsim")), "\n")
