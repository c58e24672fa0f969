"""The payment service: charges and refunds orders through a payment gateway."""
